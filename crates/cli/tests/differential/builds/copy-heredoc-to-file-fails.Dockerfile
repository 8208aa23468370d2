FROM scratch
COPY <<one <<two /file
1
one
2
two
