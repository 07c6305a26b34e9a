/* Directories. The server gives as many entries at once as fit its answer, the kernel takes as many as fit a page. */
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define AT_ONCE (256u << 10)

struct entry {
    struct file_id id;
    struct stat stat;
    uint64_t after;
    bool whole;
    char *name;
};

struct listing {
    struct entry *entries;
    size_t count, room;
    uint64_t begins;
    uint32_t asked;
    char verifier[8];
    bool end;
};

static void clear(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->entries[i].name);
    listing->count = 0;
}

static size_t add(struct operation *op, char *at, size_t left, struct entry *entry)
{
    fuse_req_t request = op->request;
    if (!op->plus)
        return fuse_add_direntry(request, at, left, entry->name, &entry->stat, entry->after);
    struct fuse_entry_param known = {.attr = entry->stat, .attr_timeout = fresh, .entry_timeout = fresh};
    bool itself = !strcmp(entry->name, ".") || !strcmp(entry->name, "..");
    struct inode *inode = entry->whole && !itself ? inode_take(&entry->id) : NULL;
    known.ino = inode ? number_of(inode) : 0;
    if (inode)
        true_size(inode, op->listing->asked, &known.attr);
    size_t size = fuse_add_direntry_plus(request, at, left, entry->name, &known, entry->after);
    if (inode && size <= left) {
        learn(inode, &entry->stat);
        inode->lookups++;
    }
    inode_release(inode);
    return size;
}

static void answer(struct operation *op, size_t index)
{
    struct listing *listing = op->listing;
    char *buffer = malloc(op->size);
    size_t filled = 0;
    for (; buffer && index < listing->count; index++) {
        size_t size = add(op, buffer + filled, op->size - filled, &listing->entries[index]);
        if (size > op->size - filled)
            break;
        filled += size;
    }
    fuse_reply_buf(op->request, buffer, filled);
    op->request = NULL;
    free(buffer);
}

static void got_entries(struct call *call, int error, struct in *reply)
{
    struct operation *op = (struct operation *)call;
    struct listing *listing = op->listing;
    if (!answered_operation(call, error))
        return;
    struct stat stat;
    get_maybe_attributes(reply, &stat);
    memcpy(listing->verifier, get_raw(reply, 8), 8);
    clear(listing);
    listing->begins = op->offset;
    listing->asked = call->xid;
    while (get_u32(reply) && !reply->bad) {
        struct entry entry = {0};
        uint32_t length;
        uint64_t number = get_u64(reply);
        const char *name = get_opaque(reply, &length);
        entry.after = get_u64(reply);
        bool has_stat = get_maybe_attributes(reply, &entry.stat);
        bool has_id = get_u32(reply) && get_file_id(reply, &entry.id);
        entry.whole = has_stat && has_id;
        entry.stat.st_ino = number;
        if (reply->bad)
            break;
        entry.name = strndup(name, length);
        if (listing->count == listing->room) {
            listing->room = listing->room * 2 + 64;
            listing->entries = realloc(listing->entries, listing->room * sizeof entry);
            if (!listing->entries)
                abort();
        }
        listing->entries[listing->count++] = entry;
    }
    listing->end = get_u32(reply);
    if (reply->bad)
        reply_error(op, EIO);
    else
        answer(op, 0);
    operation_end(op);
}

static void list(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, struct fuse_file_info *file,
                 bool plus)
{
    struct listing *listing = (struct listing *)(uintptr_t)file->fh;
    struct operation *op = operation(request, number, READDIRPLUS, got_entries);
    op->listing = listing;
    op->plus = plus;
    op->size = size;
    op->offset = offset;
    size_t index = 0;
    bool known = listing->count && offset && listing->begins == (uint64_t)offset;
    for (size_t i = 0; offset && !known && i < listing->count; i++)
        if (listing->entries[i].after == (uint64_t)offset) {
            known = i + 1 < listing->count || listing->end;
            index = i + 1;
            break;
        }
    if (known) {
        answer(op, index);
        operation_end(op);
        rpc_drop(&op->call);
        return;
    }
    if (!offset)
        memset(listing->verifier, 0, sizeof listing->verifier);
    put_u64(&op->call.arguments, offset);
    put_raw(&op->call.arguments, listing->verifier, 8);
    put_u32(&op->call.arguments, AT_ONCE / 4);
    put_u32(&op->call.arguments, AT_ONCE);
    rpc_send(&op->call);
}

void fs_opendir(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    (void)number;
    struct listing *listing = calloc(1, sizeof *listing);
    if (!listing)
        abort();
    file->fh = (uintptr_t)listing;
    if (fuse_reply_open(request, file))
        free(listing);
}

void fs_readdir(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, struct fuse_file_info *file)
{
    list(request, number, size, offset, file, false);
}

void fs_readdirplus(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, struct fuse_file_info *file)
{
    list(request, number, size, offset, file, true);
}

void fs_releasedir(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    (void)number;
    struct listing *listing = (struct listing *)(uintptr_t)file->fh;
    clear(listing);
    free(listing->entries);
    free(listing);
    fuse_reply_err(request, 0);
}
