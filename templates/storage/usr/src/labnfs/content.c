/* Reading, writing and fsync. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { UNSTABLE = 0, FILE_SYNC = 2 };

static struct handle *handle_of(const struct fuse_file_info *file)
{
    return (struct handle *)(uintptr_t)file->fh;
}

/* ------------------------------------------------------------ reading */

static void ask(struct operation *op)
{
    struct out *out = &op->call.arguments;
    size_t left = op->size - op->filled;
    out->length = 0;
    put_file_id(out, op->inode);
    put_u64(out, op->offset + op->filled);
    put_u32(out, left < read_size ? left : read_size);
    rpc_send(&op->call);
}

static void was_read(struct call *call, int error, struct in *reply)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct stat stat;
    uint32_t length;
    get_maybe_attributes(reply, &stat);
    get_u32(reply);
    bool end = get_u32(reply);
    const char *bytes = get_opaque(reply, &length);
    if (reply->bad || length > op->size - op->filled) {
        fuse_reply_err(op->request, EIO);
    } else if (!op->buffer && (end || length == op->size || !length)) {
        fuse_reply_buf(op->request, bytes, length);
    } else {
        if (!op->buffer)
            op->buffer = malloc(op->size);
        memcpy(op->buffer + op->filled, bytes, length);
        op->filled += length;
        if (length && !end && op->filled < op->size) {
            ask(op);
            return;
        }
        fuse_reply_buf(op->request, op->buffer, op->filled);
    }
    operation_end(op);
}

void fs_read(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, struct fuse_file_info *file)
{
    struct operation *op = operation(request, number, READ, was_read);
    op->call.who = handle_of(file)->who;
    op->size = size;
    op->offset = offset;
    in_turn(op, ask);
}

/* ------------------------------------------------------------ writing */

void write_out(struct operation *op)
{
    struct call *call = &op->call;
    struct out *out = &call->arguments;
    struct piece *piece = op->piece;
    size_t left = piece->size - op->filled;
    call->bytes = piece->bytes + op->filled;
    call->size = left < write_size ? left : write_size;
    call->has_bytes = true;
    out->length = 0;
    put_file_id(out, op->inode);
    put_u64(out, piece->offset + op->filled);
    put_u32(out, call->size);
    /* What comes in parts has no one verifier: the server keeps it at once. */
    bool whole = !op->filled && call->size == piece->size;
    bool later = whole && !op->at_once && kept_size < KEPT_AT_MOST;
    put_u32(out, later ? UNSTABLE : FILE_SYNC);
    rpc_send(call);
}

static void failed(struct operation *op, int error)
{
    op->inode->stamp.known = false;
    if (op->behind)
        written_behind(op->inode, &op->call.who, error);
    answered_operation(&op->call, error);
}

static void written(struct call *call, int error, struct in *reply)
{
    struct operation *op = (struct operation *)call;
    struct inode *inode = op->inode;
    if (error) {
        failed(op, error);
        return;
    }
    struct stat stat;
    bool untouched;
    bool has_stat = get_change(reply, &inode->stamp, &untouched, &stat);
    inode->stamp = has_stat ? stamp_of(&stat) : (struct stamp){0};
    inode->stamp.known = has_stat && untouched;
    uint32_t count = get_u32(reply), how = get_u32(reply);
    size_t asked = call->size;
    if (!count || count > asked || reply->bad) {
        failed(op, EIO);
        return;
    }
    if (how == UNSTABLE && count == op->piece->size) {
        memcpy(op->piece->verifier, get_raw(reply, 8), 8);
        keep(inode, op->piece);
        op->piece = NULL;
        if (inode->pieces_size > KEPT_PER_FILE && !inode->commit)
            commit(inode, &call->who, NULL, NULL);
    } else if (how == UNSTABLE) {
        op->at_once = true; /* less than was given: all of it again, to be kept when it is answered */
        write_out(op);
        return;
    } else {
        op->filled += count;
        if (op->filled < op->piece->size) {
            write_out(op);
            return;
        }
    }
    if (op->request)
        fuse_reply_write(op->request, op->size);
    op->request = NULL;
    if (op->behind)
        written_behind(inode, &call->who, 0);
    operation_end(op);
}

static void end_known(struct call *call, int error, struct in *reply)
{
    struct operation *op = answered_operation(call, error);
    if (!op)
        return;
    struct stat stat;
    get_attributes(reply, &stat);
    op->piece->offset = stat.st_size;
    call->procedure = WRITE;
    call->done = written;
    write_out(op);
}

void fs_write(fuse_req_t request, fuse_ino_t number, const char *bytes, size_t size, off_t offset,
              struct fuse_file_info *file)
{
    struct operation *op = operation(request, number, WRITE, written);
    op->call.who = handle_of(file)->who;
    op->size = size;
    op->offset = offset;
    op->piece = malloc(sizeof *op->piece + size);
    if (!op->piece)
        abort();
    *op->piece = (struct piece){.offset = offset, .size = size};
    memcpy(op->piece->bytes, bytes, size);
    if (file->flags & O_APPEND && !file->writepage) {
        op->call.procedure = GETATTR;
        op->call.done = end_known;
        in_turn(op, operation_send);
    } else if (file->writepage) {
        in_turn(op, write_out);
    } else {
        write_behind(op);
    }
}

/* ------------------------------------------------------------ fsync, close */

static void promised(void *data, int error)
{
    struct operation *op = data;
    int before = behind_error(op->inode);
    reply_error(op, before ? before : error);
    operation_drop(op);
}

static void keep_all(struct operation *op)
{
    commit(op->inode, &op->call.who, promised, op);
}

static void flushed(struct operation *op)
{
    promised(op, 0);
}

/* Not to be interrupted: a signal must not make it look as if it had failed. */
static void when_written(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file,
                         void (*run)(struct operation *))
{
    struct operation *op = operation(request, number, COMMIT, NULL);
    fuse_req_interrupt_func(request, NULL, NULL);
    op->call.who = handle_of(file)->who;
    in_turn(op, run);
}

void fs_fsync(fuse_req_t request, fuse_ino_t number, int only_data, struct fuse_file_info *file)
{
    (void)only_data;
    when_written(request, number, file, keep_all);
}

void fs_flush(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    when_written(request, number, file, flushed);
}
