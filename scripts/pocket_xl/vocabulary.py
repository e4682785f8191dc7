"""Which emoji are learned, how often, and in which plain words; the colours behind them."""
import re

# background phrase -> colour; "white" is also what a prompt without a phrase gets
COLOURS = {"white": (255, 255, 255), "blue": (164, 205, 255), "pink": (255, 190, 215),
           "green": (176, 230, 176), "yellow": (255, 240, 150), "purple": (214, 186, 255),
           "orange": (255, 205, 150), "gray": (200, 200, 200)}
COLOUR_NAMES = list(COLOURS)

# left out of the small run: hard to tell apart at this size, or not pictures of things
SKIP_NAME = re.compile(r"skin tone|button|thirty|o’clock|arrow|hair$|hair component|keycap|: |"
                       r"^(double|heavy|medium|up|down|left|right|on!|back|end|soon|top) |sign$|symbol|"
                       r"mark$|^(copyright|registered|trade mark|information|wavy dash|part alternation mark)|"
                       r"hiragana|katakana|japanese “|suit$|(black|white) (medium|small|large)|"
                       r"selector|input |^index|finger|divide|^plus$|^minus$|multiply|infinity|loop$|"
                       r"moon face|^(woman|man|person) (gesturing|tipping|raising|bowing|facepal|shrug|pouting|frown)")

# The pictures that a short CPU run concentrates on (--scope core); --scope full learns all of them.
CORE = set("""grinning face|face with tears of joy|smiling face with heart-eyes|smiling face with sunglasses|winking face|
thinking face|crying face|angry face|sleeping face|cowboy hat face|clown face|nerd face|skull|ghost|alien|alien monster|robot|
pile of poo|jack-o-lantern|red heart|orange heart|yellow heart|green heart|blue heart|purple heart|brown heart|black heart|
broken heart|fire|droplet|star|glowing star|sun|sun with face|crescent moon|full moon|cloud|cloud with rain|sun behind cloud|
cloud with lightning|rainbow|snowflake|snowman|umbrella|high voltage|tornado|water wave|comet|ringed planet|
globe showing americas|rocket|flying saucer|satellite|airplane|helicopter|automobile|sport utility vehicle|taxi|police car|bus|
ambulance|fire engine|delivery truck|tractor|racing car|motorcycle|bicycle|locomotive|metro|sailboat|speedboat|ship|anchor|
house|house with garden|castle|hospital|school|church|tent|ferris wheel|volcano|snow-capped mountain|desert island|
monkey face|dog face|wolf|fox|raccoon|cat face|lion|tiger face|horse face|unicorn|zebra|deer|cow face|pig face|ram|giraffe|
elephant|mouse face|hamster|rabbit face|hedgehog|bat|bear|koala|panda|sloth|kangaroo|paw prints|chicken|rooster|hatching chick|
penguin|dove|eagle|duck|swan|owl|flamingo|peacock|parrot|frog|crocodile|turtle|snake|dragon face|sauropod|t-rex|whale|dolphin|
fish|tropical fish|blowfish|shark|octopus|crab|lobster|shrimp|squid|spiral shell|snail|butterfly|bug|ant|honeybee|lady beetle|
spider|scorpion|rose|sunflower|tulip|cherry blossom|hibiscus|seedling|potted plant|evergreen tree|deciduous tree|palm tree|
cactus|four leaf clover|maple leaf|grapes|melon|watermelon|tangerine|lemon|banana|pineapple|mango|red apple|green apple|pear|
peach|cherries|strawberry|blueberries|kiwi fruit|tomato|coconut|avocado|eggplant|potato|carrot|ear of corn|hot pepper|broccoli|
onion|mushroom|bread|croissant|pretzel|pancakes|cheese wedge|bacon|hamburger|french fries|pizza|hot dog|taco|egg|cooking|
popcorn|sushi|rice ball|spaghetti|soft ice cream|ice cream|doughnut|cookie|birthday cake|cupcake|chocolate bar|candy|lollipop|
hot beverage|teapot|beer mug|wine glass|cocktail glass|tropical drink|christmas tree|balloon|wrapped gift|party popper|trophy|
1st place medal|soccer ball|basketball|baseball|tennis|american football|bullseye|kite|crystal ball|video game|game die|
teddy bear|artist palette|glasses|t-shirt|jeans|dress|socks|running shoe|crown|top hat|graduation cap|ring|gem stone|bell|
musical notes|microphone|headphone|guitar|trumpet|violin|drum|mobile phone|telephone|laptop|television|camera|light bulb|candle|
closed book|books|money bag|coin|envelope|pencil|key|locked|hammer|axe|magnet|scissors|alarm clock|hourglass done|watch|
ladder|broom|chair|toilet|bathtub|thumbs up|waving hand|eye|baby|santa claus|mermaid|mage|fairy|astronaut|ninja|
pirate flag|chequered flag|triangular flag|stop sign|vertical traffic light|bomb|red circle|blue circle|green circle""".replace("\n", "").split("|"))
# drawn eight times as often as the rest of CORE with --focus: the things people try first
FOCUS = set("""red apple|green apple|banana|strawberry|grapes|lemon|watermelon|cherries|pineapple|pear|peach|carrot|mushroom|
pizza|hamburger|doughnut|cookie|birthday cake|soft ice cream|hot beverage|bread|cheese wedge|cat face|dog face|cow face|pig face|
mouse face|rabbit face|tiger face|horse face|monkey face|fox|bear|panda|koala|lion|frog|chicken|penguin|owl|duck|fish|
tropical fish|whale|dolphin|octopus|crab|turtle|snail|butterfly|honeybee|lady beetle|spider|elephant|unicorn|rose|sunflower|
tulip|evergreen tree|deciduous tree|palm tree|cactus|four leaf clover|maple leaf|christmas tree|red heart|yellow heart|
green heart|blue heart|purple heart|orange heart|black heart|star|sun|sun with face|crescent moon|cloud|rainbow|snowflake|
snowman|umbrella|fire|droplet|high voltage|globe showing americas|ringed planet|rocket|flying saucer|airplane|automobile|bus|
taxi|police car|fire engine|bicycle|locomotive|sailboat|anchor|house|castle|grinning face|smiling face with sunglasses|
smiling face with heart-eyes|crying face|ghost|skull|robot|alien|jack-o-lantern|soccer ball|basketball|balloon|wrapped gift|
trophy|guitar|light bulb|key|bell|crown|gem stone|teddy bear|closed book|mobile phone|camera|bomb|alarm clock|hammer|t-shirt|
wine glass|beer mug""".replace("\n", "").split("|"))
# plain words for what CLDR names less plainly
ALIAS = {"automobile": ["car", "red car"], "sport utility vehicle": ["blue car", "suv"], "deciduous tree": ["tree"],
         "evergreen tree": ["pine tree"], "crescent moon": ["moon"], "globe showing americas": ["earth", "globe", "planet earth"],
         "ringed planet": ["planet", "saturn"], "hot beverage": ["coffee", "cup of coffee"], "soccer ball": ["football"],
         "beer mug": ["beer"], "wine glass": ["glass of wine"], "french fries": ["fries"], "doughnut": ["donut"],
         "soft ice cream": ["ice cream cone"], "high voltage": ["lightning", "lightning bolt"], "jack-o-lantern": ["pumpkin"],
         "wrapped gift": ["gift", "present"], "gem stone": ["diamond"], "lady beetle": ["ladybug"], "honeybee": ["bee"],
         "ear of corn": ["corn"], "hot pepper": ["chili pepper"], "t-rex": ["dinosaur"], "airplane": ["plane"], "sailboat": ["boat"],
         "grinning face": ["smiley", "happy face"], "hamburger": ["burger"], "red heart": ["heart"], "pile of poo": ["poop"],
         "fire engine": ["fire truck"], "locomotive": ["steam train", "train"], "delivery truck": ["truck"], "closed book": ["red book", "book"],
         "cooking": ["fried egg"], "mobile phone": ["phone"], "light bulb": ["bulb"], "tangerine": ["orange fruit"], "water wave": ["wave"],
         "snow-capped mountain": ["mountain"], "birthday cake": ["cake"], "cheese wedge": ["cheese"], "flying saucer": ["ufo"],
         **{f"{x} face": [x] for x in "dog cat cow pig horse mouse rabbit tiger monkey dragon".split()}}
