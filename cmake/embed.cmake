# embed.cmake: a file as a C array. cmake -DIN=file -DOUT=file.c -DSYMBOL=name -P embed.cmake
file(READ ${IN} hex HEX)
file(SIZE ${IN} bytes)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," data "${hex}")
file(WRITE ${OUT} "extern const unsigned char ${SYMBOL}[];\nextern const unsigned ${SYMBOL}_bytes;\n"
     "const unsigned char ${SYMBOL}[] = {${data}0};\nconst unsigned ${SYMBOL}_bytes = ${bytes};\n")
