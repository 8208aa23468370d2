FROM scratch AS busybox
COPY rootfs /
FROM busybox
ENV JAVA_HOME=/opt/java/openjdk
ENV PATH=$JAVA_HOME/bin:$PATH
ENV LANG='en_US.UTF-8' LANGUAGE='en_US:en' LC_ALL='en_US.UTF-8'
ENV JAVA_VERSION=jdk-99.0.1+9
ARG TARGETARCH
RUN set -eux; \
    case "$TARGETARCH" in \
       amd64) BINARY_URL="x64";; \
       arm64) BINARY_URL="aarch64";; \
       *) echo "Unsupported arch"; exit 1;; \
    esac; \
    mkdir -p "$JAVA_HOME/bin" "$JAVA_HOME/lib/server"; \
    echo $BINARY_URL > "$JAVA_HOME/release"; \
    echo share > "$JAVA_HOME/lib/server/classes.jsa"
COPY --chmod=755 app/bin/tool /__cacert_entrypoint.sh
ENTRYPOINT ["/__cacert_entrypoint.sh"]
CMD ["jshell"]
