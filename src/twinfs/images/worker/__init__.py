"""The reader of an image in a process of its own: it can be limited, and killed when it hangs."""

from twinfs.images.worker.client import ReaderClient
from twinfs.images.worker.remote import RemoteTree

__all__ = ["ReaderClient", "RemoteTree"]
