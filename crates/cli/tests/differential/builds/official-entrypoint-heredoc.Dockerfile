FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY --chmod=0755 <<-"EOT" /usr/local/bin/docker-entrypoint.sh
	#!/bin/sh
	set -e
	if [ "${1#-}" != "$1" ]; then
		set -- server "$@"
	fi
	exec "$@"
	EOT
RUN docker-entrypoint.sh echo run > /run-by-entrypoint
HEALTHCHECK --start-period=5s --retries=2 CMD wget -qO- http://localhost:8080/health || exit 1
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["server"]
