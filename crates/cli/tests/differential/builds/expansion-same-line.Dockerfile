FROM scratch
ENV A=old
ENV A=new B=$A
ENV C=$B D=$A
WORKDIR /$A/$B
COPY config.yaml .
