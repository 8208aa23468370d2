# Makes the context of all Dockerfiles here in the working directory, beside `rootfs`.
set -eu
umask 022

# Every build copies busybox's programs: only those that steps run are kept.
shopt -s extglob
rm rootfs/bin/!(busybox|sh|ash|awk|cat|chmod|chown|chroot|cp|cut|dd|df|echo|env|false|find|grep|hostname|id|kill|ln|ls|mkdir|mkfifo|mknod|mv|printf|pwd|rm|sed|sort|stat|tail|tee|test|touch|tr|true|truncate|uname|vi|wc)

# Steps have these mounted; BuildKit leaves a trace of that in the time of the directory where they are missing.
: > rootfs/etc/hosts
: > rootfs/etc/resolv.conf

mkdir -p src/lib/deep notes/sub links modes names deep/1/2/3/4 void hard archives app/bin app/conf.d
echo '{"name": "app"}' > package.json
echo 'a: 1' > config.yaml
echo 'int main;' > src/main.c
echo '#define X' > src/make.h
echo '#define Y' > src/lib/deep/x.h
echo kept > notes/kept.md
echo dropped > notes/dropped.log
echo 'kept, too' > notes/sub/kept.log
printf '**/*.log\n!notes/sub/*.log\n*.Dockerfile\nsecrets\n' > .dockerignore
mkdir secrets && echo hidden > secrets/key

echo text > links/target
chmod 751 links/target
ln -s target links/link
ln -s nowhere links/broken
ln -s ../src links/directory
ln -s ../../../../etc/passwd links/outside
ln -s /config.yaml links/absolute

for mode in 4755 2755 1777 640 000 600 777; do echo $mode > modes/$mode; chmod $mode modes/$mode; done
mkdir modes/directory modes/sticky && chmod 2750 modes/directory && chmod 1777 modes/sticky
echo owned > modes/owned && chown 1234:5678 modes/owned
echo able > modes/able && setcap cap_net_raw+ep modes/able

echo space > 'names/with space.txt'
echo brackets > 'names/[a].txt'
echo star > 'names/star*.txt'
echo umlaut > names/ümlaut.txt
echo dash > names/-dash
echo hidden > names/.hidden
echo dollar > 'names/$dollar'
: > names/empty
truncate -s 64K names/sparse && printf end >> names/sparse
echo bottom > deep/1/2/3/4/file
echo one > hard/a && ln hard/a hard/b

printf '#!/bin/sh\nset -e\nexec "$@"\n' > app/entrypoint.sh && chmod 755 app/entrypoint.sh
printf '#!/bin/sh\nexit 0\n' > app/bin/tool && chmod 755 app/bin/tool
echo 'listen 80;' > app/conf.d/default.conf
echo 'print("hi")' > app/main.py

# Debian's busybox has neither `adduser` nor `addgroup`.
cat > rootfs/bin/adduser <<'SCRIPT'
#!/bin/sh
set -eu
id=500 group= home= shell=/bin/sh
while [ $# -gt 1 ]; do
    case $1 in
        -u | --uid | --gid) id=$2; shift ;;
        -g) case $0 in *group) id=$2 ;; esac; shift ;;
        -G) group=$2; shift ;;
        -h | --home) home=$2; shift ;;
        -s | --shell) shell=$2; shift ;;
        --gecos) shift ;;
    esac
    shift
done
case $0 in
    *group) echo "$1:x:$id:" >> /etc/group; exit ;;
esac
group=$(grep "^${group:-root}:" /etc/group | cut -d : -f 3)
echo "$1:x:$id:$group::${home:-/home/$1}:$shell" >> /etc/passwd
SCRIPT
chmod 755 rootfs/bin/adduser
ln -s adduser rootfs/bin/addgroup

# What the archives hold: links, owners and a device.
mkdir tree && echo inside > tree/file && ln tree/file tree/hard && ln -s file tree/link
mkdir tree/directory && echo more > tree/directory/file && chmod 700 tree/directory
mkfifo tree/pipe && mknod tree/null c 1 3 && chown -h 12:34 tree/file tree/link tree/directory
find tree -exec touch -h -d @1111111111 {} +
tar -cf archives/tree.tar tree
gzip -nk archives/tree.tar && mv archives/tree.tar.gz archives/tree.tgz
bzip2 -k archives/tree.tar && xz -k archives/tree.tar && zstd -q archives/tree.tar
cp archives/tree.tar archives/named.txt
echo 'no archive' > archives/false.tar.gz
echo 'one file' > archives/text && gzip -n archives/text
mkdir archives/deep && cp archives/tree.tar archives/deep/inner.tar
rm -r tree

# Every file has a time of its own, long ago.
find . -print0 | LC_ALL=C sort -zr | {
    time=1000000000
    while IFS= read -r -d '' path; do
        case "$path" in ./rootfs/*) ;; *) touch -h -d "@$time" "$path"; time=$((time + 1000)) ;; esac
    done
}
find rootfs -exec touch -h -d @999999999 {} +
