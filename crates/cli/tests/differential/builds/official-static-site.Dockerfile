FROM scratch AS busybox
COPY rootfs /
FROM busybox AS site
COPY notes /notes
RUN <<EOT
mkdir /public
for page in $(find /notes -type f | sort); do
  echo "<p>$(cat $page)</p>" >> /public/index.html
done
EOT
FROM busybox
COPY --from=site --link --chmod=644 /public/index.html /usr/share/nginx/html/
COPY <<-"conf" /etc/nginx/conf.d/default.conf
	server {
	  listen 80;
	  location / { try_files $uri /index.html; }
	}
	conf
