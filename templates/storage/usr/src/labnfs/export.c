#include "export.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GETPORT = 3, MNT = 1, MOUNTED_PORT = 20048, NFS_PORT = 2049 };

uint32_t read_size = LARGEST_IO, write_size = LARGEST_IO;

static bool failed(const char *layer, const char *address, const char *what)
{
    printf("failed %s: %s: %s\n", layer, address, what);
    fflush(stdout);
    return false;
}

static uint16_t port_of(const char *address, uint32_t program, uint16_t usual)
{
    struct out out = {0};
    struct in reply;
    put_u32(&out, program);
    put_u32(&out, 3);
    put_u32(&out, 6); /* TCP */
    put_u32(&out, 0);
    uint32_t port = rpc_once(address, 111, PORTMAP_PROGRAM, 2, GETPORT, &out, &reply) ? 0 : get_u32(&reply);
    free(out.data);
    return port ? port : usual;
}

/* 0, an errno when the server did not answer, or minus the status that it answered. */
static int mount(const char *address, uint16_t port, const char *path, struct file_id *id)
{
    struct out out = {0};
    struct in reply;
    put_string(&out, path);
    int error = rpc_once(address, port, MOUNT_PROGRAM, 3, MNT, &out, &reply);
    free(out.data);
    if (error)
        return error;
    uint32_t status = get_u32(&reply);
    if (status)
        return -(int)status;
    return get_file_id(&reply, id) ? 0 : EIO;
}

static int learn_sizes(const char *address, uint16_t port, struct stat *stat)
{
    struct out out = {0};
    struct in reply;
    put_file_id(&out, root);
    int error = rpc_once(address, port, NFS_PROGRAM, 3, FSINFO, &out, &reply);
    if (!error && get_u32(&reply))
        error = EACCES;
    if (!error) {
        get_maybe_attributes(&reply, stat);
        uint32_t most_read = get_u32(&reply);
        get_u32(&reply);
        get_u32(&reply);
        uint32_t most_written = get_u32(&reply);
        if (most_read && most_read < read_size)
            read_size = most_read;
        if (most_written && most_written < write_size)
            write_size = most_written;
    }
    if (!error) {
        out.length = 0;
        put_file_id(&out, root);
        error = rpc_once(address, port, NFS_PROGRAM, 3, GETATTR, &out, &reply);
        if (!error && (get_u32(&reply) || !get_attributes(&reply, stat)))
            error = EACCES;
    }
    free(out.data);
    return error;
}

static bool find_at(struct server *server, const char *address, char **paths)
{
    uint16_t port = port_of(address, MOUNT_PROGRAM, MOUNTED_PORT);
    struct file_id id;
    int error = -2;
    for (; *paths && error < 0; paths++)
        error = mount(address, port, *paths, &id);
    if (error > 0)
        return failed(error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH ? "network" : "portal",
                      address, strerror(error));
    if (error == -13 || error == -1)
        return failed("mount", address, "the server does not export it to this node");
    if (error)
        return failed("mount", address, error == -2 ? "the server has no such export" : strerror(-error));
    server->port = port_of(address, NFS_PROGRAM, NFS_PORT);
    root = inode_take(&id);
    root->lookups = 1;
    struct stat stat;
    error = learn_sizes(address, server->port, &stat);
    if (error)
        return failed(error == EACCES ? "mount" : "portal", address, strerror(error));
    learn(root, &stat);
    return true;
}

bool find_export(struct server *server, char **paths)
{
    for (server->current = 0; server->current < server->count; server->current++)
        if (find_at(server, server->addresses[server->current], paths))
            return true;
    return false;
}
