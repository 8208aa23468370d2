FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN addgroup -g 1100 node \
    && adduser -u 1100 -G node -s /bin/sh -D node
ENV NODE_VERSION 99.1.0
ENV YARN_VERSION 1.22.22
RUN ARCH= OPENSSL_ARCH='linux*' && case "$(uname -m)" in \
      x86_64) ARCH='x64' CHECKSUM="aa" OPENSSL_ARCH=linux-x86_64;; \
      aarch64) ARCH='arm64' CHECKSUM="bb";; \
      *) ;; \
  esac \
  && mkdir -p /usr/local/bin \
  && for program in node npm; do printf '#!/bin/sh\necho %s\n' "$program-$NODE_VERSION-$ARCH" > /usr/local/bin/$program; done \
  && chmod +x /usr/local/bin/* \
  && ln -s /usr/local/bin/node /usr/local/bin/nodejs \
  # smoke tests
  && /usr/local/bin/node \
  && /usr/local/bin/nodejs
COPY app/entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENTRYPOINT ["docker-entrypoint.sh"]
CMD [ "node" ]
