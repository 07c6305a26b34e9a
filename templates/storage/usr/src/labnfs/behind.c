/* Writing behind: what is written is answered at once and is on its way to the server, as in the kernel's own clients.
 *
 * At most one WRITE of a file is under way; what comes meanwhile is gathered, as far as it continues, and goes next. So
 * writes arrive in their order, and many small ones as one. Everything else that asks or changes a file's content or
 * size takes its turn after them: whoever closes a file, or has fsync answered, has it on the server, and is told of
 * what went wrong; a program that does neither is told at its next write.
 */
#include "files.h"

#include <stdlib.h>
#include <string.h>

static bool busy(const struct inode *inode)
{
    return inode->writing || inode->gathering;
}

int behind_error(struct inode *inode)
{
    int error = inode->write_error;
    inode->write_error = 0;
    return error;
}

void true_size(const struct inode *inode, uint32_t asked, struct stat *stat)
{
    /* Asked before the last of the writes was answered: the server may not have had it yet. */
    bool before = busy(inode) || (int32_t)(asked - inode->drained) < 0;
    if (inode->behind_end && before && (uint64_t)stat->st_size < inode->behind_end)
        stat->st_size = inode->behind_end;
}

static bool same_caller(const struct credentials *one, const struct credentials *other)
{
    return one->uid == other->uid && one->gid == other->gid;
}

/* Whether `op` continues what is gathered, and is part of it now. */
static bool joined(struct operation *op)
{
    struct operation *to = op->inode->gathering;
    struct piece *piece = to->piece;
    if (piece->offset + piece->size != op->piece->offset || piece->size + op->size > write_size ||
        !same_caller(&to->call.who, &op->call.who))
        return false;
    size_t needed = piece->size + op->size;
    if (needed > to->room) {
        to->room = needed < write_size / 2 ? 2 * needed : write_size;
        to->piece = piece = realloc(piece, sizeof *piece + to->room);
        if (!piece)
            abort();
    }
    memcpy(piece->bytes + piece->size, op->piece->bytes, op->size);
    piece->size = needed;
    return true;
}

static void answer(struct operation *op)
{
    fuse_req_interrupt_func(op->request, NULL, NULL);
    fuse_reply_write(op->request, op->size);
    op->request = NULL;
}

/* Whether there was room for the write, or nobody waits for it any more. */
static bool taken(struct operation *op)
{
    struct inode *inode = op->inode;
    if (!op->request || inode->write_error) {
        if (op->request)
            reply_error(op, behind_error(inode));
        operation_drop(op);
        return true;
    }
    if (inode->gathering && !joined(op))
        return false;
    uint64_t end = op->offset + op->size;
    if (inode->behind_end < end)
        inode->behind_end = end;
    answer(op);
    if (inode->gathering) {
        operation_drop(op);
    } else if (inode->writing) {
        inode->gathering = op;
        op->room = op->size;
    } else {
        inode->writing = op;
        write_out(op);
    }
    return true;
}

static void delay(struct operation *op)
{
    struct inode *inode = op->inode;
    op->call.started = now_ms();
    op->after = NULL;
    if (inode->delayed)
        inode->delayed_end->after = op;
    else
        inode->delayed = op;
    inode->delayed_end = op;
}

void write_behind(struct operation *op)
{
    op->behind = true;
    if (op->inode->delayed || !taken(op))
        delay(op);
}

void in_turn(struct operation *op, void (*run)(struct operation *))
{
    op->run = run;
    if (op->inode->delayed || busy(op->inode))
        delay(op);
    else
        run(op);
}

void written_behind(struct inode *inode, const struct credentials *who, int error)
{
    inode_hold(inode);
    if (error)
        inode->write_error = error;
    inode->writing = inode->gathering;
    inode->gathering = NULL;
    if (inode->writing)
        write_out(inode->writing);
    else
        inode->drained = rpc_mark();
    for (struct operation *op; (op = inode->delayed); ) {
        if (!op->behind && busy(inode))
            break;
        inode->delayed = op->after;
        if (!op->behind) {
            op->run(op);
        } else if (!taken(op)) {
            inode->delayed = op;
            break;
        }
    }
    /* Nobody is left who could ask for it. */
    if (!busy(inode) && !inode->opened && inode->pieces && !inode->commit)
        commit(inode, who, NULL, NULL);
    inode_release(inode);
}
