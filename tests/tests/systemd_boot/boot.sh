# Makes a root out of this machine's /usr and becomes its systemd. Called as the first process of
# new namespaces: boot.sh ROOT PROGRAMS SYSTEMD. Nothing is written outside ROOT, which is a tmpfs
# that only these namespaces see.
set -eu
root=$1 programs=$2 systemd=$3

mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$root"
cd "$root"
mkdir -p usr proc sys dev run tmp var/log var/tmp root home srv old opt/mpserverd
mkdir -p etc/pam.d etc/systemd/system
mount --rbind /usr usr
mount -o remount,bind,ro usr
mount --bind "$programs" opt/mpserverd
for folder in bin sbin lib lib32 lib64; do
    if [ -L "/$folder" ]; then ln -s "usr/$folder" "$folder"; fi
done

# The kernel's settings are the machine's: not to be changed from here.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup

mount -t tmpfs -o mode=0755 tmpfs dev
for device in null zero full random urandom tty; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=0755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
chmod 1777 var/tmp

for file in ld.so.cache ld.so.conf ld.so.conf.d alternatives; do
    if [ -e "/etc/$file" ]; then cp -a "/etc/$file" etc/; fi
done
cat >etc/passwd <<END
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
alice:x:1001:1001::/home/alice:/bin/sh
bob:x:1002:1002::/home/bob:/bin/sh
END
cat >etc/group <<END
root:x:0:
nogroup:x:65534:
alice:x:1001:
bob:x:1002:
END
for user in alice:1001 bob:1002; do
    mkdir -m 0700 "home/${user%:*}"
    chown "${user#*:}:${user#*:}" "home/${user%:*}"
done
printf 'passwd: files systemd\ngroup: files systemd\n' >etc/nsswitch.conf
echo 6d707365727665722d74657374000000 >etc/machine-id
for service in systemd-user other; do
    printf '%s required pam_permit.so\n' auth account session >"etc/pam.d/$service"
done

# What belongs to a machine and not to this test. Without logind, users have their folders from a
# unit, and their managers know them from a variable.
units=etc/systemd/system
ln -s /usr/lib/systemd/system/multi-user.target $units/default.target
for unit in systemd-logind.service dbus.service dbus.socket getty.target systemd-udevd.service \
    systemd-udev-trigger.service systemd-udev-settle.service systemd-networkd.service \
    systemd-resolved.service systemd-timesyncd.service systemd-sysctl.service \
    systemd-modules-load.service systemd-journald-audit.socket systemd-update-utmp.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
    dev-hugepages.mount modprobe@.service proc-sys-fs-binfmt_misc.automount; do
    ln -s /dev/null "$units/$unit"
done
mkdir "$units/user-runtime-dir@.service.d" "$units/user@.service.d"
cat >"$units/user-runtime-dir@.service.d/test.conf" <<END
[Service]
ExecStart=
ExecStart=/usr/bin/install -d -m 0700 -o %i -g %i /run/user/%i
ExecStop=
END
cat >"$units/user@.service.d/test.conf" <<END
[Service]
Environment=XDG_RUNTIME_DIR=/run/user/%i
END

pivot_root . old
umount -l old
rmdir old
echo "booting"
# Without the capabilities that reach beyond namespaces.
exec setpriv --bounding-set=-sys_time,-sys_module,-sys_boot \
    env -i container=mpserverd-tests PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    "$systemd" systemd.unified_cgroup_hierarchy=1 --show-status=no
