"""One volume's life: where its files are, its settings, its process and how to talk to it."""
