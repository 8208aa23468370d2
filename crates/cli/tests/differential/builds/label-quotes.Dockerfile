FROM scratch
COPY config.yaml /
LABEL one=1 two="2 2" three='3 $x' "four 4"=4 five=a\ b
LABEL multi="line one\
 line two" six="\"quoted\"" seven=
LABEL old style label
LABEL com.example.a.b-c_d="x=y=z" json='{"a": [1, "b"]}' unicode=ümlaut
