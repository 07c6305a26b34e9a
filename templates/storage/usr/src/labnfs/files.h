/* What the client knows of the server's files, and what its operations share. */
#pragma once
#define FUSE_USE_VERSION 317
#include <fuse3/fuse_lowlevel.h>

#include "rpc.h"

enum {
    GETATTR = 1, SETATTR = 2, LOOKUP = 3, ACCESS = 4, READLINK = 5, READ = 6, WRITE = 7, CREATE = 8, MKDIR = 9,
    SYMLINK = 10, MKNOD = 11, REMOVE = 12, RMDIR = 13, RENAME = 14, LINK = 15, READDIRPLUS = 17, FSSTAT = 18,
    FSINFO = 19, COMMIT = 21,
};

#define LARGEST_IO (1u << 20)

struct file_id {
    uint32_t length;
    char bytes[64];
};

/* Which content the kernel's cache of a file came from. */
struct stamp {
    struct timespec modified;
    uint64_t size;
    bool known;
};

/* Data that the server has acknowledged but not yet promised to keep: sent again when the server forgot it. */
struct piece {
    struct piece *next;
    uint64_t offset;
    size_t size;
    char verifier[8];
    bool asked;
    char bytes[];
};

struct inode {
    struct inode *next; /* in its row of the table */
    struct file_id id;
    uint64_t lookups;   /* the kernel's references */
    uint32_t references;
    uint32_t opened;
    uint32_t gid, mode;
    struct stamp stamp;
    struct piece *pieces, **pieces_end; /* oldest first */
    size_t pieces_size;
    struct commit *commit; /* the one under way */
    struct waiter *waiters;
    struct operation *writing, *gathering;     /* answered already; and what waits for its turn after them */
    struct operation *delayed, *delayed_end;
    uint64_t behind_end;   /* the file is at least as long as that */
    uint32_t drained;      /* calls that were made before this one do not know all writes */
    int write_error;       /* of a write that was answered already */
    /* Where it lies meanwhile when it was removed while it was open. */
    struct inode *hidden_in;
    char hidden[24];
};

/* An open file. */
struct handle {
    struct inode *inode;
    struct credentials who;
};

/* A call that answers a request of the kernel. */
struct operation {
    struct call call;
    fuse_req_t request;
    struct inode *inode, *other;
    struct handle *handle;
    struct fuse_file_info file;
    bool has_file;
    char *name, *other_name;
    struct credentials caller;
    uint64_t offset;
    size_t size;
    int flags;
    /* What has been read so far when the server gives less at once than was asked for. */
    char *buffer;
    size_t filled;
    struct piece *piece;
    size_t room;
    bool at_once;
    bool behind;
    struct operation *after;
    void (*run)(struct operation *);
    struct listing *listing;
    bool plus;
};

extern struct fuse_session *session;
extern struct inode *root;
extern uint32_t read_size, write_size;

/* ---- nodes.c */
struct inode *inode_of(fuse_ino_t number);
fuse_ino_t number_of(const struct inode *inode);
struct inode *inode_take(const struct file_id *id);
struct inode *inode_find(const struct file_id *id);
void inode_hold(struct inode *inode);
void inode_release(struct inode *inode);
void inode_forget(struct inode *inode, uint64_t count);
bool get_file_id(struct in *in, struct file_id *id);
void put_file_id(struct out *out, const struct inode *inode);
bool get_attributes(struct in *in, struct stat *stat);
/* The attributes that may follow, known of `inode` from then on. */
bool get_maybe_attributes(struct in *in, struct stat *stat);
void learn(struct inode *inode, const struct stat *stat);
struct stamp stamp_of(const struct stat *stat);
bool same(const struct stamp *one, const struct stamp *other);
/* wcc_data: whether the file was as `stamp` says before; `stat` is how it is now. */
bool get_change(struct in *in, const struct stamp *stamp, bool *untouched, struct stat *stat);

/* ---- requests.c */
extern const double fresh;
struct operation *operation(fuse_req_t request, fuse_ino_t number, uint32_t procedure,
                            void (*done)(struct call *, int, struct in *));
/* The operation of a call, its request not yet answered; NULL when it has been answered with an error. */
struct operation *answered_operation(struct call *call, int error);
void operation_end(struct operation *op);
/* The end of one whose call was never sent. */
void operation_drop(struct operation *op);
/* For `in_turn`: send its call. */
void operation_send(struct operation *op);
struct credentials caller_of(fuse_req_t request);
/* The new or found file of a reply; `maybe` when even its handle may be missing. */
bool get_entry(struct in *reply, bool maybe, struct file_id *id, struct stat *stat);
void reply_entry(struct operation *op, const struct file_id *id, const struct stat *stat);
void reply_error(struct operation *op, int error);
void requests_tick(void);

/* ---- content.c */
void fs_read(fuse_req_t, fuse_ino_t, size_t, off_t, struct fuse_file_info *);
void fs_write(fuse_req_t, fuse_ino_t, const char *, size_t, off_t, struct fuse_file_info *);
void fs_fsync(fuse_req_t, fuse_ino_t, int, struct fuse_file_info *);

void write_out(struct operation *op);
void fs_flush(fuse_req_t, fuse_ino_t, struct fuse_file_info *);

/* ---- behind.c */
/* Answer a write and have it sent; it takes its turn after those that were before it. */
void write_behind(struct operation *op);
/* To be called when a WRITE was answered whose request had been answered before. */
void written_behind(struct inode *inode, const struct credentials *who, int error);
/* Do something when all writes of the file that were answered are on the server. */
void in_turn(struct operation *op, void (*run)(struct operation *));
/* What went wrong with a write that was answered, told once; 0 or an errno. */
int behind_error(struct inode *inode);
/* The size that the file has with all that is on its way, in an answer to the call with the number `asked`. */
void true_size(const struct inode *inode, uint32_t asked, struct stat *stat);

/* ---- keeping.c */
extern size_t kept_size;
#define KEPT_PER_FILE ((size_t)(32 << 20))
#define KEPT_AT_MOST ((size_t)(96 << 20))
void keep(struct inode *inode, struct piece *piece);
/* Have the server promise all that was written before; `done` gets 0 or an errno. */
void commit(struct inode *inode, const struct credentials *who, void (*done)(void *, int), void *data);
bool committing(void);

/* ---- opening.c */
extern uint32_t all_opened;
void fs_open(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void fs_create(fuse_req_t, fuse_ino_t, const char *, mode_t, struct fuse_file_info *);
void fs_release(fuse_req_t, fuse_ino_t, struct fuse_file_info *);

/* ---- attributes.c */
void fs_getattr(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void fs_setattr(fuse_req_t, fuse_ino_t, struct stat *, int, struct fuse_file_info *);
void fs_statfs(fuse_req_t, fuse_ino_t);

/* ---- names.c */
void fs_lookup(fuse_req_t, fuse_ino_t, const char *);
void fs_readlink(fuse_req_t, fuse_ino_t);
void fs_mkdir(fuse_req_t, fuse_ino_t, const char *, mode_t);
void fs_mknod(fuse_req_t, fuse_ino_t, const char *, mode_t, dev_t);
void fs_symlink(fuse_req_t, const char *, fuse_ino_t, const char *);
void fs_link(fuse_req_t, fuse_ino_t, fuse_ino_t, const char *);

/* ---- removing.c */
void fs_unlink(fuse_req_t, fuse_ino_t, const char *);
void fs_rmdir(fuse_req_t, fuse_ino_t, const char *);
void fs_rename(fuse_req_t, fuse_ino_t, const char *, fuse_ino_t, const char *, unsigned);
void remove_hidden(struct inode *inode, const struct credentials *who);

/* ---- listing.c */
void fs_opendir(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void fs_readdir(fuse_req_t, fuse_ino_t, size_t, off_t, struct fuse_file_info *);
void fs_readdirplus(fuse_req_t, fuse_ino_t, size_t, off_t, struct fuse_file_info *);
void fs_releasedir(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
