FROM scratch AS busybox
COPY rootfs /
FROM busybox
ENV RUSTUP_HOME=/usr/local/rustup \
    CARGO_HOME=/usr/local/cargo \
    PATH=/usr/local/cargo/bin:$PATH \
    RUST_VERSION=1.99.0
RUN set -eux; \
    arch="$(uname -m)"; \
    case "$arch" in \
        x86_64) rustArch='x86_64-unknown-linux-gnu' ;; \
        aarch64) rustArch='aarch64-unknown-linux-gnu' ;; \
        *) exit 1 ;; \
    esac; \
    mkdir -p $RUSTUP_HOME $CARGO_HOME/bin; \
    echo "$rustArch" > $RUSTUP_HOME/toolchain; \
    printf '#!/bin/sh\n' > $CARGO_HOME/bin/cargo; \
    chmod -R a+w $RUSTUP_HOME $CARGO_HOME;
