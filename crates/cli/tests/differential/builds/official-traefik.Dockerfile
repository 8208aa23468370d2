FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN set -ex; \
	apkArch="$(uname -m)"; \
	case "$apkArch" in \
		x86_64) arch='amd64' ;; \
		aarch64) arch='arm64' ;; \
		*) echo >&2 "error: unsupported architecture: $apkArch"; exit 1 ;; \
	esac; \
	mkdir -p /usr/local/bin; echo "$arch" > /usr/local/bin/traefik; \
	chmod +x /usr/local/bin/traefik
COPY app/entrypoint.sh /
EXPOSE 80
ENTRYPOINT ["/entrypoint.sh"]
CMD ["traefik"]
# Metadata
LABEL org.opencontainers.image.vendor="Someone" \
	org.opencontainers.image.url="https://example.com" \
	org.opencontainers.image.source="https://example.com/source" \
	org.opencontainers.image.title="Proxy" \
	org.opencontainers.image.description="A modern reverse-proxy" \
	org.opencontainers.image.version="v9.9.9"
