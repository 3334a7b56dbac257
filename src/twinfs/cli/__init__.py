"""The commands: one module each, thin faces over daemon/ and report/."""
