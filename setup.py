"""What pyproject.toml has no settled words for: the piece of C that is built with the package."""

from setuptools import Extension, setup

# No Python module, see the source. Where it cannot be built, twinfs does without.
setup(
    ext_modules=[
        Extension(
            "twinfs.fuse._listing_cache",
            ["src/twinfs/fuse/listing_cache.c"],
            include_dirs=["/usr/include/fuse3"],
            libraries=["fuse3"],
            optional=True,
        )
    ]
)
