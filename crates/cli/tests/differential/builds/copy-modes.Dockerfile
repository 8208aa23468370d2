FROM scratch
COPY modes /modes
COPY modes/4755 modes/000 /single/
