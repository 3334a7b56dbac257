"""The intent log: what the secondary has not yet applied, kept so that a kill loses none of it."""
