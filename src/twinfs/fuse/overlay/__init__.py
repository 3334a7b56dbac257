"""An image that is mounted with an overlay: what is changed is kept beside it."""
