FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN echo shell > /shell
RUN ["/bin/sh", "-c", "echo exec > /exec"]
RUN [ "touch" , "/spaced" ]
RUN set -e; for i in 1 2 3; do echo $i; done > /loop
