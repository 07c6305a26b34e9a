"""Virtual machines by Vagrant and libvirt: one Vagrantfile for each lab, boxes made from packages.

Vagrant makes and removes machines; what only looks, starts or stops goes to libvirt or into the machine, each of which
answers in a fraction of the time that Vagrant takes to begin.
"""
