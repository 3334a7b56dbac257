"""How a guest is run: by the processor itself (KVM) or emulated (TCG)."""
