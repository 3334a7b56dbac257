"""A network for a guest: a tap device, addresses, masquerading."""
