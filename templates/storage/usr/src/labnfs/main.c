/* labnfs: an NFS version 3 export as a file system, where the kernel has no NFS client.
 *
 *   labnfs --server ADDRESS[,ADDRESS…] --export PATH [--export PATH…] [--read-only] [--all-are-one] [--timeout SECONDS]
 *          DIRECTORY
 *
 * Each request goes to the server with uid and gid of who made it. It stays in the foreground and says on its output
 * what happens, a line each: "ready ADDRESS", "down", "up ADDRESS", "failed LAYER: MESSAGE".
 * --all-are-one: the server takes every user for one and the same, so that it alone decides what is allowed.
 */
#include "export.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_THE_END 10000

struct fuse_session *session;

static void fs_init(void *data, struct fuse_conn_info *connection)
{
    (void)data;
    connection->max_write = LARGEST_IO;
    connection->max_readahead = LARGEST_IO;
    connection->max_background = 128;
    connection->congestion_threshold = 96;
    connection->want &= ~(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_HANDLE_KILLPRIV);
    connection->want |= connection->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ASYNC_READ |
                                               FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_PARALLEL_DIROPS |
                                               FUSE_CAP_ASYNC_DIO);
}

static void fs_forget(fuse_req_t request, fuse_ino_t number, uint64_t count)
{
    inode_forget(inode_of(number), count);
    fuse_reply_none(request);
}

static void fs_forget_multi(fuse_req_t request, size_t count, struct fuse_forget_data *all)
{
    for (size_t i = 0; i < count; i++)
        inode_forget(inode_of(all[i].ino), all[i].nlookup);
    fuse_reply_none(request);
}

static const struct fuse_lowlevel_ops operations = {
    .init = fs_init, .forget = fs_forget, .forget_multi = fs_forget_multi, .lookup = fs_lookup,
    .getattr = fs_getattr, .setattr = fs_setattr, .statfs = fs_statfs, .readlink = fs_readlink, .mkdir = fs_mkdir,
    .mknod = fs_mknod, .symlink = fs_symlink, .link = fs_link, .unlink = fs_unlink, .rmdir = fs_rmdir,
    .rename = fs_rename, .open = fs_open, .create = fs_create, .release = fs_release, .read = fs_read,
    .write = fs_write, .flush = fs_flush, .fsync = fs_fsync, .opendir = fs_opendir, .readdir = fs_readdir,
    .readdirplus = fs_readdirplus, .releasedir = fs_releasedir,
};

/* All requests that are there, but not so many that the server's answers wait. */
static void take_requests(struct fuse_buf *buffer)
{
    for (int i = 0; i < 64 && !fuse_session_exited(session); i++) {
        int got = fuse_session_receive_buf(session, buffer);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return;
        fuse_session_process_buf(session, buffer);
    }
}

static void once(int kernel, struct fuse_buf *buffer)
{
    struct pollfd ready[2] = {{.fd = rpc_fd(), .events = rpc_events()}, {.fd = kernel, .events = POLLIN}};
    if (poll(ready, kernel < 0 ? 1 : 2, rpc_wait()) < 0)
        return;
    if (kernel >= 0 && ready[1].revents)
        take_requests(buffer);
    rpc_run(ready[0].revents);
    requests_tick();
}

static void serve(void)
{
    struct fuse_buf buffer = {0};
    int kernel = fuse_session_fd(session);
    fcntl(kernel, F_SETFL, fcntl(kernel, F_GETFL) | O_NONBLOCK);
    while (!fuse_session_exited(session))
        once(kernel, &buffer);
    uint64_t end = now_ms() + AT_THE_END;
    while ((committing() || !rpc_idle()) && now_ms() < end)
        once(-1, NULL);
    free(buffer.mem);
}

static int split(char *list, char ***parts)
{
    int count = 0;
    *parts = NULL;
    for (char *one = strtok(list, ","); one; one = strtok(NULL, ",")) {
        *parts = realloc(*parts, ++count * sizeof **parts);
        (*parts)[count - 1] = one;
    }
    return count;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"server", required_argument, NULL, 's'}, {"export", required_argument, NULL, 'e'},
        {"read-only", no_argument, NULL, 'r'},    {"all-are-one", no_argument, NULL, 'a'},
        {"timeout", required_argument, NULL, 't'}, {0},
    };
    struct server server = {.timeout = 30};
    char *paths[4] = {0};
    int path_count = 0;
    bool read_only = false, all_are_one = false;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's')
            server.count = split(optarg, &server.addresses);
        else if (option == 'e' && path_count < 3)
            paths[path_count++] = optarg;
        else if (option == 'r')
            read_only = true;
        else if (option == 'a')
            all_are_one = true;
        else if (option == 't')
            server.timeout = atoi(optarg);
        else
            return 2;
    }
    if (optind != argc - 1 || !server.count || !path_count || !server.timeout) {
        fprintf(stderr, "usage: labnfs --server ADDRESS --export PATH DIRECTORY\n");
        return 2;
    }
    if (!find_export(&server, paths))
        return 1;
    char mount_options[512];
    snprintf(mount_options, sizeof mount_options, "allow_other%s%s,subtype=labnfs,fsname=%s:%s",
             all_are_one ? "" : ",default_permissions", read_only ? ",ro" : "", server.addresses[server.current],
             paths[0]);
    char *words[] = {"labnfs", "-o", mount_options, NULL};
    struct fuse_args arguments = FUSE_ARGS_INIT(3, words);
    session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
    if (!session || fuse_set_signal_handlers(session) || fuse_session_mount(session, argv[optind])) {
        printf("failed mount: /dev/fuse cannot be used\n");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    rpc_start(&server);
    printf("ready %s\n", server.addresses[server.current]);
    fflush(stdout);
    serve();
    fuse_session_unmount(session);
    return 0;
}
