FROM scratch
ARG NAME=value
COPY <<one <<"two" <<-three /files/
$NAME and ${NAME:-x} and \$NAME
one
$NAME
two
	tabs $NAME
	three
COPY <<EOT /single
only
EOT
COPY --chmod=755 --chown=1:2 <<run.sh /bin/
#!/bin/sh
run.sh
