FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --network=none cat /etc/hosts > /hosts; hostname > /name; ls /sys/class/net > /interfaces; \
    ulimit -n > /files; ulimit -u > /dev/null; df -k /dev/shm | tail -1 | awk '{print $2}' > /shm
# case: add-host=own.example:10.1.2.3
# case: ulimit=nofile=512:1024
# case: shm-size=8388608
# case: build-arg=BUILDKIT_SANDBOX_HOSTNAME=workshop
