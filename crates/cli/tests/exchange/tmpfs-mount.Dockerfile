FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=type=tmpfs,target=/scratch,size=1m dd if=/dev/zero of=/scratch/f bs=1k count=10 2>/dev/null && ls -l /scratch | wc -l > /count
