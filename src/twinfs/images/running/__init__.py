"""The disk of a running machine, as it was at one moment: a snapshot that QEMU keeps and exports.

monitor.py   asks QEMU
address.py   what `qmp:NAME/DRIVE` means
graph.py     which block nodes QEMU has, and which of them are ours
snapshot.py  puts a snapshot under the guest's disk, and takes it away
leftovers.py those whose holder was killed
server.py    QEMU's NBD server, over which a snapshot is read
room.py      sees to it that no snapshot fills the disk that its file lies on
using.py     one snapshot for as long as a command or a mount takes
"""
