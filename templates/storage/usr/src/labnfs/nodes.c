/* The table of the server's files by their handles, and how attributes look on the wire. */
#include "files.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define ROWS 65536u

struct inode *root;
static struct inode *table[ROWS];

static struct inode **row_of(const struct file_id *id)
{
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < id->length; i++)
        hash = (hash ^ (unsigned char)id->bytes[i]) * 16777619u;
    return &table[(hash ^ hash >> 16) % ROWS];
}

struct inode *inode_of(fuse_ino_t number)
{
    return number == FUSE_ROOT_ID ? root : (struct inode *)(uintptr_t)number;
}

fuse_ino_t number_of(const struct inode *inode)
{
    return inode == root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)inode;
}

struct inode *inode_find(const struct file_id *id)
{
    for (struct inode *inode = *row_of(id); inode; inode = inode->next)
        if (inode->id.length == id->length && !memcmp(inode->id.bytes, id->bytes, id->length))
            return inode;
    return NULL;
}

struct inode *inode_take(const struct file_id *id)
{
    struct inode *inode = inode_find(id);
    if (!inode) {
        inode = calloc(1, sizeof *inode);
        if (!inode)
            abort();
        inode->id = *id;
        inode->pieces_end = &inode->pieces;
        struct inode **row = row_of(id);
        inode->next = *row;
        *row = inode;
    }
    inode->references++;
    return inode;
}

void inode_hold(struct inode *inode)
{
    inode->references++;
}

static void drop_unused(struct inode *inode)
{
    if (inode->references || inode->lookups || inode == root)
        return;
    struct inode **link = row_of(&inode->id);
    while (*link != inode)
        link = &(*link)->next;
    *link = inode->next;
    free(inode);
}

void inode_release(struct inode *inode)
{
    if (!inode)
        return;
    inode->references--;
    drop_unused(inode);
}

void inode_forget(struct inode *inode, uint64_t count)
{
    inode->lookups -= count < inode->lookups ? count : inode->lookups;
    drop_unused(inode);
}

bool get_file_id(struct in *in, struct file_id *id)
{
    const void *bytes = get_opaque(in, &id->length);
    if (in->bad || id->length > sizeof id->bytes)
        return in->bad = true, false;
    memcpy(id->bytes, bytes, id->length);
    return true;
}

void put_file_id(struct out *out, const struct inode *inode)
{
    put_opaque(out, inode->id.bytes, inode->id.length);
}

static struct timespec get_time(struct in *in)
{
    struct timespec time = {.tv_sec = (int32_t)get_u32(in)};
    time.tv_nsec = get_u32(in);
    return time;
}

bool get_attributes(struct in *in, struct stat *stat)
{
    static const mode_t types[] = {0, S_IFREG, S_IFDIR, S_IFBLK, S_IFCHR, S_IFLNK, S_IFSOCK, S_IFIFO};
    memset(stat, 0, sizeof *stat);
    uint32_t type = get_u32(in);
    stat->st_mode = (get_u32(in) & 07777) | (type < 8 ? types[type] : 0);
    stat->st_nlink = get_u32(in);
    stat->st_uid = get_u32(in);
    stat->st_gid = get_u32(in);
    stat->st_size = get_u64(in);
    stat->st_blocks = (get_u64(in) + 511) / 512;
    uint32_t major = get_u32(in), minor = get_u32(in);
    stat->st_rdev = makedev(major, minor);
    get_u64(in);
    stat->st_ino = get_u64(in);
    stat->st_atim = get_time(in);
    stat->st_mtim = get_time(in);
    stat->st_ctim = get_time(in);
    stat->st_blksize = LARGEST_IO;
    return !in->bad;
}

bool get_maybe_attributes(struct in *in, struct stat *stat)
{
    return get_u32(in) && get_attributes(in, stat);
}

void learn(struct inode *inode, const struct stat *stat)
{
    inode->gid = stat->st_gid;
    inode->mode = stat->st_mode;
}

struct stamp stamp_of(const struct stat *stat)
{
    return (struct stamp){.modified = stat->st_mtim, .size = stat->st_size, .known = true};
}

bool same(const struct stamp *one, const struct stamp *other)
{
    return one->known && other->known && one->size == other->size && one->modified.tv_sec == other->modified.tv_sec &&
           one->modified.tv_nsec == other->modified.tv_nsec;
}

bool get_change(struct in *in, const struct stamp *stamp, bool *untouched, struct stat *stat)
{
    *untouched = false;
    if (get_u32(in)) {
        struct stamp before = {.size = get_u64(in), .known = true};
        before.modified = get_time(in);
        get_time(in);
        *untouched = stamp && same(&before, stamp);
    }
    return get_maybe_attributes(in, stat);
}
