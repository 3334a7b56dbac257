/* Lets the kernel keep the listings of directories.
 *
 * That is a flag of the answer to OPENDIR (FOPEN_CACHE_DIR in linux/fuse.h, cache_readdir in libfuse), which
 * pyfuse3 has no word for. Loaded before pyfuse3 and into the global scope, this function is found in place of
 * libfuse's by the dynamic linker, see ld.so(8); it marks what Python asked for and calls the other.
 * Without it everything works, and every listing is asked for anew.
 */
#define FUSE_USE_VERSION 31
#include <dlfcn.h>
#include <errno.h>
#include <fuse_lowlevel.h>

/* In a handle's upper 16 bits: LISTING_MARK of listing_cache.py. No handle of a file has them. */
#define LISTING_MARK 0xFFD1

static int (*libfuse_reply_open)(fuse_req_t, const struct fuse_file_info *);

/* Whether the other is found; asked before this library goes into the global scope. The name is looked for in
 * libfuse itself: RTLD_NEXT would look where the program that loaded us has its libraries. */
int twinfs_listing_cache_is_ready(void)
{
    void *libfuse = dlopen("libfuse3.so.3", RTLD_LAZY);

    if (libfuse)
        libfuse_reply_open = dlsym(libfuse, "fuse_reply_open");
    return libfuse_reply_open && libfuse_reply_open != fuse_reply_open;
}

int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
    struct fuse_file_info answer = *fi;

    if (answer.fh >> 48 == LISTING_MARK)
        answer.cache_readdir = answer.keep_cache = 1;
    return libfuse_reply_open ? libfuse_reply_open(req, &answer) : -ENOSYS;
}
