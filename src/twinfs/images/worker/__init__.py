"""The reader of an image in a process of its own: it can be limited, and killed when it hangs."""
