"""The clients of shared storage: NFS exports and iSCSI disks as mounts and devices, beside the node that uses them."""
