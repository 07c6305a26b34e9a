# Variables of the lab file for login shells that did not come through sshd.
if [ -r /etc/lab/environment ]; then
    set -a
    . /etc/lab/environment
    set +a
fi
