FROM scratch AS busybox
COPY rootfs /
FROM busybox AS build-base
ARG BUILDKIT_SBOM_SCAN_STAGE=true
RUN echo base > /base
FROM build-base AS openssl-builder
ARG BUILDKIT_SBOM_SCAN_STAGE=true
ENV OPENSSL_INSTALL_PATH_PREFIX="/opt/openssl"
RUN mkdir -p $OPENSSL_INSTALL_PATH_PREFIX/bin && echo ssl > $OPENSSL_INSTALL_PATH_PREFIX/bin/openssl
FROM build-base AS erlang-builder
ENV ERLANG_INSTALL_PATH_PREFIX=/opt/erlang
COPY --from=openssl-builder /opt/openssl /opt/openssl
RUN mkdir -p /opt/erlang/bin && cat /opt/openssl/bin/openssl > /opt/erlang/bin/erl
FROM busybox
ENV ERLANG_INSTALL_PATH_PREFIX=/opt/erlang OPENSSL_INSTALL_PATH_PREFIX=/opt/openssl
COPY --from=erlang-builder $ERLANG_INSTALL_PATH_PREFIX $ERLANG_INSTALL_PATH_PREFIX
COPY --from=openssl-builder $OPENSSL_INSTALL_PATH_PREFIX $OPENSSL_INSTALL_PATH_PREFIX
ENV RABBITMQ_DATA_DIR /var/lib/rabbitmq
RUN set -eux; addgroup -g 1999 -S rabbitmq; adduser -u 1100 -S -h "$RABBITMQ_DATA_DIR" -G rabbitmq rabbitmq; \
	mkdir -p "$RABBITMQ_DATA_DIR" /etc/rabbitmq/conf.d /tmp/rabbitmq-ssl; chown -fR rabbitmq:rabbitmq "$RABBITMQ_DATA_DIR"; chmod 1777 "$RABBITMQ_DATA_DIR"
ENV HOME $RABBITMQ_DATA_DIR
VOLUME $RABBITMQ_DATA_DIR
ENV LANG=C.UTF-8 LANGUAGE=C.UTF-8 LC_ALL=C.UTF-8
COPY --chown=rabbitmq:rabbitmq app/conf.d/*.conf /etc/rabbitmq/conf.d/
ENTRYPOINT ["docker-entrypoint.sh"]
EXPOSE 4369 5671 5672 15691 15692 25672
CMD ["rabbitmq-server"]
