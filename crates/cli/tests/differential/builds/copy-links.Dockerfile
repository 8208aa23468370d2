FROM scratch
COPY links /links
COPY links/link /file
COPY links/directory /directory
COPY links/directory/main.c /through/
COPY links/absolute /absolute
