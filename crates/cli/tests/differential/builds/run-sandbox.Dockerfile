FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN hostname > /name; grep -c . /etc/hosts > /lines; cat /proc/self/cgroup > /dev/null; \
    ls -la /dev | awk 'NR > 1 {print $1, $3, $NF}' | grep -v -e ' \.*$' -e kcore > /devices; \
    grep -E 'Cap|NoNewPrivs|Seccomp:|Groups' /proc/self/status > /status; ulimit -c > /core; umask > /umask
