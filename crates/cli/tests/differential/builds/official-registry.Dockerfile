FROM scratch AS busybox
COPY rootfs /
FROM busybox AS certificates
RUN mkdir -p /etc/ssl/certs && echo bundle > /etc/ssl/certs/ca-certificates.crt
FROM certificates
RUN set -eux; \
	mkdir -p /etc/distribution; \
	printf 'version: 0.1\nhttp:\n  addr: :5000\n' > /etc/distribution/config.yml
COPY --from=certificates /etc/ssl/certs/ca-certificates.crt /etc/ssl/
VOLUME ["/var/lib/registry"]
EXPOSE 5000
ENV OTEL_TRACES_EXPORTER=none
COPY app/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["/etc/distribution/config.yml"]
