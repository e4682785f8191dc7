"""What moves, how, over which grounds, and in which words. The grounds are pocket-xl's."""

# CLDR's name of an emoji -> plain words for it, the commonest first
OBJECTS = {
    "red apple": ["red apple", "apple"], "green apple": ["green apple"], "banana": ["banana"],
    "strawberry": ["strawberry"], "carrot": ["carrot"], "pizza": ["pizza", "slice of pizza"],
    "doughnut": ["doughnut", "donut"], "cat face": ["cat", "cat face"], "dog face": ["dog", "dog face"],
    "frog": ["frog", "green frog"], "tropical fish": ["tropical fish", "fish"], "penguin": ["penguin"],
    "red heart": ["red heart", "heart"], "star": ["star", "yellow star"], "sun": ["sun", "yellow sun"],
    "rocket": ["rocket"], "automobile": ["red car", "car", "automobile"], "soccer ball": ["soccer ball", "football"],
    "balloon": ["balloon", "red balloon"], "ghost": ["ghost"]}
NAMES = list(OBJECTS)

# motion -> (present participles, finite forms, participles that may stand before the name)
MOTIONS = {
    "left": (["moving left", "moving to the left", "sliding to the left", "flying left", "going left"],
             ["moves left", "moves to the left", "slides to the left", "flies left", "goes left"], []),
    "right": (["moving right", "moving to the right", "sliding to the right", "flying right", "going right"],
              ["moves right", "moves to the right", "slides to the right", "flies right", "goes right"], []),
    "up": (["moving up", "rising", "flying up", "going up", "moving upwards"],
           ["moves up", "rises", "flies up", "goes up", "moves upwards"], ["rising"]),
    "down": (["moving down", "falling", "sinking", "going down", "moving downwards"],
             ["moves down", "falls", "sinks", "goes down", "moves downwards"], ["falling", "sinking"]),
    "spin": (["spinning", "rotating", "spinning around", "turning around", "turning in a circle"],
             ["spins", "rotates", "spins around", "turns around", "turns in a circle"], ["spinning", "rotating"]),
    "grow": (["growing", "getting bigger", "growing larger", "becoming bigger"],
             ["grows", "gets bigger", "grows larger", "becomes bigger"], ["growing"]),
    "shrink": (["shrinking", "getting smaller", "becoming smaller"],
               ["shrinks", "gets smaller", "becomes smaller"], ["shrinking"]),
    "bounce": (["bouncing", "jumping", "bouncing up and down", "jumping up and down", "hopping"],
               ["bounces", "jumps", "bounces up and down", "jumps up and down", "hops"], ["bouncing", "jumping"]),
    "still": (["standing still", "not moving", "at rest", ""],
              ["stands still", "does not move", "rests", "stays in place"], ["still", "resting"])}
MOTION_NAMES = list(MOTIONS)

# (object, motion, ground) that training never shows; stage "check" asks for them
HELD_OUT = [("banana", "spin", "yellow"), ("rocket", "up", "purple"), ("cat face", "left", "green"),
            ("tropical fish", "right", "pink"), ("red heart", "grow", "blue"), ("ghost", "shrink", "orange"),
            ("soccer ball", "bounce", "green"), ("penguin", "down", "yellow"), ("strawberry", "still", "purple"),
            ("automobile", "left", "gray")]
