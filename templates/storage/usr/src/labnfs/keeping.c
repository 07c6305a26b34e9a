/* What the server has written but may still forget: kept here until it promises to keep it (COMMIT), and sent again
 * when it has forgotten, which its changed verifier tells. So a server that is killed between write and fsync costs
 * nothing.
 */
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct waiter {
    struct waiter *next;
    void (*done)(void *, int);
    void *data;
};

struct commit {
    struct inode *inode;
    struct credentials who;
    struct waiter *serves;
    int error;
};

struct step {
    struct call call;
    struct commit *commit;
    struct piece *piece;
};

size_t kept_size;
static int under_way;

bool committing(void)
{
    return under_way > 0;
}

void keep(struct inode *inode, struct piece *piece)
{
    piece->next = NULL;
    *inode->pieces_end = piece;
    inode->pieces_end = &piece->next;
    inode->pieces_size += piece->size;
    kept_size += piece->size;
}

static void let_go(struct inode *inode, struct piece *piece)
{
    struct piece **link = &inode->pieces;
    while (*link != piece)
        link = &(*link)->next;
    *link = piece->next;
    if (!piece->next)
        inode->pieces_end = link;
    inode->pieces_size -= piece->size;
    kept_size -= piece->size;
    free(piece);
}

static void start(struct inode *inode, const struct credentials *who);

static void end(struct commit *commit)
{
    struct inode *inode = commit->inode;
    struct waiter *serves = commit->serves;
    int error = commit->error;
    struct credentials who = commit->who;
    inode->commit = NULL;
    for (struct piece *piece = inode->pieces, *next; piece; piece = next) {
        next = piece->next;
        /* What the server will never take is gone, and who waits is told; what it did not answer is tried again. */
        if (piece->asked && error && error != EIO && error != EACCES)
            let_go(inode, piece);
        else
            piece->asked = false;
    }
    free(commit);
    under_way--;
    while (serves) {
        struct waiter *waiter = serves;
        serves = waiter->next;
        if (waiter->done)
            waiter->done(waiter->data, error);
        free(waiter);
    }
    if (!inode->commit && (inode->waiters || (inode->pieces && !inode->opened && error != EACCES)))
        start(inode, &who);
    inode_release(inode);
}

static void send_again(struct commit *commit);

static void sent_again(struct call *call, int error, struct in *reply)
{
    (void)reply;
    struct step *step = (struct step *)call;
    struct commit *commit = step->commit;
    commit->error = error;
    if (!error)
        let_go(commit->inode, step->piece);
    send_again(commit);
}

/* One after another, so that what was written over stays written over. */
static void send_again(struct commit *commit)
{
    struct piece *piece = commit->error ? NULL : commit->inode->pieces;
    while (piece && !piece->asked)
        piece = piece->next;
    if (!piece) {
        end(commit);
        return;
    }
    struct step *step = (struct step *)rpc_new(sizeof *step, WRITE, &commit->who);
    struct out *out = &step->call.arguments;
    step->commit = commit;
    step->piece = piece;
    step->call.done = sent_again;
    step->call.bytes = piece->bytes;
    step->call.size = piece->size;
    step->call.has_bytes = true;
    put_file_id(out, commit->inode);
    put_u64(out, piece->offset);
    put_u32(out, piece->size);
    put_u32(out, 2); /* to be kept when it is answered */
    rpc_send(&step->call);
}

static void committed(struct call *call, int error, struct in *reply)
{
    struct commit *commit = ((struct step *)call)->commit;
    struct inode *inode = commit->inode;
    struct stat stat;
    bool untouched;
    commit->error = error;
    if (error) {
        end(commit);
        return;
    }
    get_change(reply, NULL, &untouched, &stat);
    const char *verifier = get_raw(reply, 8);
    for (struct piece *piece = inode->pieces, *next; piece; piece = next) {
        next = piece->next;
        if (piece->asked && !memcmp(piece->verifier, verifier, 8))
            let_go(inode, piece);
    }
    send_again(commit);
}

static void start(struct inode *inode, const struct credentials *who)
{
    struct commit *commit = calloc(1, sizeof *commit);
    if (!commit)
        abort();
    *commit = (struct commit){.inode = inode, .who = *who, .serves = inode->waiters};
    inode->waiters = NULL;
    inode->commit = commit;
    inode_hold(inode);
    under_way++;
    for (struct piece *piece = inode->pieces; piece; piece = piece->next)
        piece->asked = true;
    struct step *step = (struct step *)rpc_new(sizeof *step, COMMIT, who);
    step->commit = commit;
    step->call.done = committed;
    put_file_id(&step->call.arguments, inode);
    put_u64(&step->call.arguments, 0);
    put_u32(&step->call.arguments, 0);
    rpc_send(&step->call);
}

void commit(struct inode *inode, const struct credentials *who, void (*done)(void *, int), void *data)
{
    if (!inode->pieces && !inode->commit) {
        if (done)
            done(data, 0);
        return;
    }
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        abort();
    *waiter = (struct waiter){inode->waiters, done, data};
    inode->waiters = waiter;
    if (!inode->commit)
        start(inode, who);
}
