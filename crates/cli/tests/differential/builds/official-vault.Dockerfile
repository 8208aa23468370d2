FROM scratch AS busybox
COPY rootfs /
FROM busybox
ARG BIN_NAME=vault
ARG NAME=vault
ARG PRODUCT_VERSION
ARG PRODUCT_REVISION
ARG TARGETOS TARGETARCH
LABEL name="Vault" version=${PRODUCT_VERSION} revision=${PRODUCT_REVISION} summary="A tool." description="A tool \
for secrets."
COPY --link=false LICENSE* config.yaml /usr/share/doc/$NAME/
ENV NAME=$NAME
RUN addgroup ${NAME} && adduser -S -G ${NAME} ${NAME}
COPY app/bin/tool /bin/$BIN_NAME-$TARGETOS-$TARGETARCH
RUN mkdir -p /vault/logs /vault/file /vault/config && chown -R ${NAME}:${NAME} /vault
VOLUME /vault/logs
VOLUME /vault/file
EXPOSE 8200
CMD ["server", "-dev"]
# case: build-arg=PRODUCT_VERSION=1.99.0
