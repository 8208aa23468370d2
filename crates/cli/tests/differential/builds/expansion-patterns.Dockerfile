FROM scratch
ENV NAME=archive.tar.gz PATHS=/usr/local/lib/x
ENV A=${NAME#*.} B=${NAME##*.} C=${NAME%.*} D=${NAME%%.*} E=${PATHS/l/L} F=${PATHS//l/L} G=${NAME#a?c} H=${PATHS//\//_}
COPY config.yaml /$C
