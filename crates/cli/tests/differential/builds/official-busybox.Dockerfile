FROM scratch AS busybox
COPY rootfs /
FROM busybox AS rootfs
WORKDIR /rootfs
RUN mkdir -p bin etc dev proc root tmp usr/sbin && chmod 1777 tmp && cp /bin/busybox bin/ && cp /etc/passwd etc/
RUN cd bin; for name in sh ls cat; do ln busybox $name; done
RUN chroot . /bin/sh -xec 'test -x /bin/sh'
FROM scratch
COPY --from=rootfs /rootfs/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["sh"]
