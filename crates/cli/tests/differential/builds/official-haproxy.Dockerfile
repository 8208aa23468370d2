FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN set -eux; addgroup --gid 1099 haproxy; adduser -u 1099 -G haproxy -h /var/lib/haproxy -D haproxy; \
	mkdir -p /usr/local/etc/haproxy /var/lib/haproxy; chown haproxy:haproxy /var/lib/haproxy
# https://example.com/stop-signal
STOPSIGNAL SIGUSR1
COPY app/entrypoint.sh /usr/local/bin/
ENTRYPOINT ["entrypoint.sh"]
USER haproxy
# https://example.com/kubernetes
WORKDIR /var/lib/haproxy
CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
