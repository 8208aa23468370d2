FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN <<EOT
set -e
echo one > /one
echo two > /two
EOT
COPY <<first.conf <<"second.conf" /etc/app/
value = 1
first.conf
value = $NOT_EXPANDED
second.conf
RUN cat /etc/app/* > /both
