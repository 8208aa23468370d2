FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN <<EOT
set -e
mkdir /out
echo "one $HOME" > /out/one
EOT
RUN <<-"EOT" sh -e
	echo "two $HOME" > /out/two
	cat <<-INNER > /out/inner
		inner
	INNER
	EOT
RUN <<ONE cat > /out/three && <<TWO cat > /out/four
three
ONE
four
TWO
RUN <<EOT
#!/bin/awk -f
BEGIN { print "awk" > "/awk" }
EOT
