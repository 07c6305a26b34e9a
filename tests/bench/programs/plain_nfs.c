/* An NFS export as a file system by the shortest way there is: libfuse's callbacks, each one call of libnfs' that waits.
 * What labctl's own client is measured beside; it does no more than the measurements need.
 *   plain_nfs nfs://SERVER/EXPORT?version=3 DIRECTORY [FUSE OPTIONS]
 */
#define FUSE_USE_VERSION 31
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <nfsc/libnfs.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

static struct nfs_context *nfs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define HANDLE ((struct nfsfh *)(uintptr_t)file->fh)
#define ALONE(call)                                                                                                    \
    do {                                                                                                               \
        pthread_mutex_lock(&lock);                                                                                     \
        int result = (call);                                                                                           \
        pthread_mutex_unlock(&lock);                                                                                   \
        return result;                                                                                                 \
    } while (0)

static int get_attributes(const char *path, struct stat *out, struct fuse_file_info *file)
{
    struct nfs_stat_64 known;
    pthread_mutex_lock(&lock);
    int result = file && file->fh ? nfs_fstat64(nfs, HANDLE, &known) : nfs_lstat64(nfs, path, &known);
    pthread_mutex_unlock(&lock);
    if (result)
        return result;
    *out = (struct stat){.st_ino = known.nfs_ino, .st_mode = known.nfs_mode, .st_nlink = known.nfs_nlink,
                         .st_uid = known.nfs_uid, .st_gid = known.nfs_gid, .st_size = known.nfs_size,
                         .st_blocks = known.nfs_blocks, .st_blksize = known.nfs_blksize};
    out->st_mtim = (struct timespec){known.nfs_mtime, known.nfs_mtime_nsec};
    out->st_ctim = (struct timespec){known.nfs_ctime, known.nfs_ctime_nsec};
    return 0;
}

static int opened(const char *path, int flags, struct fuse_file_info *file)
{
    struct nfsfh *handle = NULL;
    pthread_mutex_lock(&lock);
    int result = nfs_open(nfs, path, flags, &handle);
    pthread_mutex_unlock(&lock);
    file->fh = (uintptr_t)handle;
    return result;
}

static int open_file(const char *path, struct fuse_file_info *file)
{
    return opened(path, file->flags & ~(O_CREAT | O_EXCL | O_APPEND), file);
}

static int create_file(const char *path, mode_t mode, struct fuse_file_info *file)
{
    struct nfsfh *handle = NULL;
    pthread_mutex_lock(&lock);
    int result = nfs_creat(nfs, path, mode & 07777, &handle);
    pthread_mutex_unlock(&lock);
    file->fh = (uintptr_t)handle;
    return result == -EEXIST ? opened(path, O_RDWR, file) : result;
}

static int read_file(const char *path, char *bytes, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)path;
    ALONE(nfs_pread(nfs, HANDLE, offset, size, bytes));
}

static int write_file(const char *path, const char *bytes, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)path;
    ALONE(nfs_pwrite(nfs, HANDLE, offset, size, (char *)bytes));
}

static int sync_file(const char *path, int only_data, struct fuse_file_info *file)
{
    (void)path, (void)only_data;
    ALONE(nfs_fsync(nfs, HANDLE));
}

static int close_file(const char *path, struct fuse_file_info *file)
{
    (void)path;
    ALONE(nfs_close(nfs, HANDLE));
}

static int truncate_file(const char *path, off_t size, struct fuse_file_info *file)
{
    (void)file;
    ALONE(nfs_truncate(nfs, path, size));
}

static int remove_file(const char *path)
{
    ALONE(nfs_unlink(nfs, path));
}

static void *begin(struct fuse_conn_info *connection, struct fuse_config *config)
{
    connection->max_write = 1 << 20;
    config->use_ino = 1;
    return NULL;
}

static const struct fuse_operations operations = {
    .init = begin, .getattr = get_attributes, .open = open_file, .create = create_file, .read = read_file,
    .write = write_file, .fsync = sync_file, .release = close_file, .truncate = truncate_file, .unlink = remove_file,
};

int main(int count, char **words)
{
    if (count < 3)
        return 2;
    nfs = nfs_init_context();
    struct nfs_url *url = nfs_parse_url_dir(nfs, words[1]);
    if (!url || nfs_mount(nfs, url->server, url->path)) {
        fprintf(stderr, "%s\n", nfs_get_error(nfs));
        return 1;
    }
    words[1] = words[0];
    return fuse_main(count - 1, words + 1, &operations, NULL);
}
