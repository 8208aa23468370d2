FROM scratch
COPY app/bin/tool /
CMD ["/tool"]
