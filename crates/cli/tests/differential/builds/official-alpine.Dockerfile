# A root filesystem and a command: the base images of distributions.
FROM scratch
ADD archives/tree.tar.xz /
COPY rootfs /
CMD ["/bin/sh"]
