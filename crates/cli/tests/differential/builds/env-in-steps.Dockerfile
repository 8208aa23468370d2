FROM scratch AS busybox
COPY rootfs /
FROM busybox
ENV ONE=1
RUN env | grep -v '^HOSTNAME' | sort > /env
ENV PATH=/opt/bin:$PATH
RUN mkdir -p /opt/bin && printf '#!/bin/sh\necho found\n' > /opt/bin/tool && chmod +x /opt/bin/tool && tool > /answer
USER builder
RUN env | grep -v '^HOSTNAME' | sort > /tmp/env && pwd > /tmp/pwd && id > /tmp/id
